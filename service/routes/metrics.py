"""Numbers for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def read_metrics(request: Request) -> Response:
    """Write all numbers, as Prometheus or OpenMetrics text."""
    encode, media_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(request.app.state.registry), headers={"Content-Type": media_type})
