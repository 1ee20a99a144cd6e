"""The evaluation as one HTML page that needs nothing else: no network, no script, no font."""

from dlb_core.evaluation.document import ALL_DOMAINS, Comparison, Evaluation, Summary
from dlb_core.evaluation.plots import Plot
from dlb_core.evaluation.statistics import FEWEST_FOR_TEST, SIGNIFICANT, PairedTest, Spread
from dlb_core.metrics import MEASURES
from dlb_core.report.render import page_environment
from dlb_core.report.wording import moment, number

UNDEFINED = "–"


def render_page(evaluation: Evaluation, plots: tuple[Plot, ...]) -> str:
    """Lay the evaluation out.

    Returns
    -------
    str
        A complete HTML document.
    """
    return (
        page_environment("dlb_core.evaluation", "dlb_core.report")
        .get_template("evaluation.html.j2")
        .render(
            evaluation=evaluation,
            plots=plots,
            measures=MEASURES,
            groups=groups(evaluation),
            all_domains=ALL_DOMAINS,
            moment=moment,
            number=number,
            value=value,
            mean_and_sd=mean_and_sd,
            verdict=verdict,
        )
    )


def groups(evaluation: Evaluation) -> dict[str, tuple[Summary, ...]]:
    """Summaries by domain, methods in their order."""
    domains = dict.fromkeys(group.domain for group in evaluation.summaries)
    return {
        domain: tuple(group for group in evaluation.summaries if group.domain == domain)
        for domain in domains
    }


def value(figure: float | None) -> str:
    """A measure with three digits, or a dash."""
    return UNDEFINED if figure is None else number(figure, 3)


def mean_and_sd(spread: Spread, num_cases: int) -> str:
    """Mean ± standard deviation, and of how many cases where not of all."""
    if spread.mean is None:
        return UNDEFINED
    text = number(spread.mean, 3)
    if spread.sd is not None:
        text += f" ± {number(spread.sd, 3)}"
    return text if spread.num_cases == num_cases else f"{text} ({spread.num_cases} cases)"


def verdict(comparison: Comparison) -> str:
    """What the test says, in a sentence or two."""
    test = comparison.test
    if test.num_different == 0:
        return "Both bundles score the same on every case."
    # The test is on ranks: one case far off can pull the mean the other way.
    better = "A" if test.rank_difference > 0 else "B"
    lead = (
        f"Hybrid score, case by case: A − B is {number(test.mean_difference, 3)} on average "
        f"over {_cases(test.num_cases)}."
    )
    if test.p_value is None:
        return f"{lead} {_too_few(test)}"
    finding = f"{better} scores significantly better" if test.significant else "Not significant"
    opposed = test.significant and test.rank_difference * test.mean_difference < 0
    doubt = " The mean points the other way: look at the cases far off." if opposed else ""
    return (
        f"{lead} {finding}: two-sided Wilcoxon signed-rank test, W = {test.statistic:g}, "
        f"p = {test.p_value:.3g}, {_cases(test.num_different)} that differ.{doubt}"
    )


def _too_few(test: PairedTest) -> str:
    smallest = 2 / 2**test.num_different
    return (
        f"Only {_cases(test.num_different)} differ{'s' if test.num_different == 1 else ''}: the "
        f"smallest p that a two-sided Wilcoxon test could give is {smallest:.3g}, so no result "
        f"could be significant at {SIGNIFICANT:g} and none is given. It takes at least "
        f"{FEWEST_FOR_TEST}."
    )


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"
