"""Write facts into a bundle's manifest, and its model card after them."""

from dlb_core.artefacts import write_text
from dlb_core.checkpoints import MODEL_CARD, Bundle, Manifest, open_bundle, write_manifest
from dlb_core.errors import BadOption
from dlb_core.model_card import fresh_card, has_place_for_figures, is_ours, refreshed
from dlb_core.model_facts import Facts, Measured


def describe(bundle: Bundle, facts: Facts, *, new_card: bool = False) -> Bundle:
    """Write facts into a manifest and into the marked parts of the model card.

    The networks and their digests stay as they are. The manifest's own digest, by which results
    name the bundle, becomes another one if the facts are others.

    Parameters
    ----------
    bundle : Bundle
    facts : Facts
        Parts that say nothing leave what the manifest says.
    new_card : bool
        Replace a card that has no place for figures.

    Raises
    ------
    BadOption
        The facts are not this bundle's or contradict its manifest, or the card has no place for
        them. Nothing was written then.
    """
    _check(bundle, facts)
    known = bundle.manifest.facts or Facts()
    manifest = bundle.manifest.model_copy(
        update={"facts": known.model_copy(update=facts.given()), "schema_version": "1.1"}
    )
    write_text(bundle.folder / MODEL_CARD, _card(bundle, manifest, new_card))
    write_manifest(bundle.folder, manifest)
    return open_bundle(bundle.folder)


def _check(bundle: Bundle, facts: Facts) -> None:
    for measured in facts.evaluation:
        check = _check_leave_one_out if measured.leave_one_out else _check_own
        check(bundle, measured)


def _check_own(bundle: Bundle, measured: Measured) -> None:
    if measured.weights_sha256 not in ("", bundle.weights_sha256):
        raise BadOption(f"'{measured.title}': these figures are of other weights")
    trained_on = measured.cases & bundle.manifest.seen_cases
    if trained_on and not measured.seen_in_training:
        raise BadOption(
            f"'{measured.title}': the manifest names {', '.join(sorted(trained_on))} among "
            "the cases that shaped the weights: say so with seen_in_training"
        )


def _check_leave_one_out(bundle: Bundle, measured: Measured) -> None:
    if measured.weights_sha256 == bundle.weights_sha256:
        raise BadOption(
            f"'{measured.title}': leave_one_out says that the figures are of other weights, yet "
            "they are of this bundle's: measure each case with weights trained without it"
        )
    if strangers := measured.cases - bundle.manifest.seen_cases:
        raise BadOption(
            f"'{measured.title}': the manifest does not name {', '.join(sorted(strangers))} among "
            "the cases that shaped the weights, so leave_one_out cannot be: measure them with "
            "this bundle, or name the cases as its data set does"
        )


def _card(bundle: Bundle, manifest: Manifest, new_card: bool) -> str:
    path = bundle.folder / MODEL_CARD
    card = path.read_text(encoding="utf-8") if path.exists() else ""
    if new_card or not card or is_ours(card):
        return fresh_card(manifest)
    if not has_place_for_figures(card):
        raise BadOption(
            f"{MODEL_CARD} was written by hand and has no place for the figures: put the lines "
            "'<!-- dlb: figures -->' and '<!-- /dlb -->' where they belong, or give --new-card"
        )
    return refreshed(card, manifest)
