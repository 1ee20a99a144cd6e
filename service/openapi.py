"""Write the API's description: `python -m service.openapi` makes openapi/openapi.json."""

import json
from pathlib import Path

from service.app import create_app
from service.settings import ServiceSettings

TARGET = Path(__file__).parent.parent / "openapi" / "openapi.json"


def render() -> str:
    """Text of the OpenAPI document; nothing is opened or started for it."""
    app = create_app(ServiceSettings(data=Path("unused")))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
