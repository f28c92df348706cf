"""The first screen in words: what to train on, what it gains, and how far to trust that."""

from __future__ import annotations

from mixopt.report import plots
from mixopt.report.content import Content, Decision, Gain, Missing, Rival
from mixopt.report.elements import MOST_ROWS, Plot, Table, Tile, correlation, count_of, embed, percent, shorten
from mixopt.results.answer import DomainAnswer
from mixopt.settings.levels import Row, in_levels
from mixopt.settings.units import show_count
from search.problem import PROPORTIONAL


def tiles(content: Content) -> tuple[Tile, ...]:
    decision, trials = content.decision, content.trials
    answer = decision.rival(decision.answer)
    # Where nothing is to be changed, what the search had to offer instead.
    subject = decision.rivals[0] if answer.changes_nothing else answer
    same = f"what the search proposes is the {PROPORTIONAL} mixture" if subject.changes_nothing else None
    shared = subject.values.keys() & decision.rival(PROPORTIONAL).values.keys()
    together = ", all candidates' intervals together" if len(decision.candidates) > 1 else ""
    alone = "one new run of each, their errors taken as independent"
    paired, unit = f"{count_of(len(shared), 'seed')}, over {decision.over}{together}", content.unit
    stopped = f"{trials.stopped} stopped early, " if trials.stopped else ""
    return (
        _gain_tile("Predicted gain", alone, subject, subject.predicted, same or decision.not_predicted, unit),
        _gain_tile("Confirmed gain", paired, subject, subject.confirmed, same or decision.not_confirmed, unit),
        *_beside_tile(content),
        _trust_tile(content),
        Tile(
            "Trials",
            str(trials.completed),
            "completed",
            f"{stopped}{trials.failed} failed; what was measured took {trials.flops:.3g} FLOPs",
        ),
    )


def _gain_tile(title: str, runs: str, subject: Rival, gain: Gain | None, reason: str | None, unit: str) -> Tile:
    if gain is None:
        return Tile(title, "none", "", _sentence(reason or "no run of both mixtures was completed with the same seed"))
    interval = f"95% interval {shown}" if (shown := _interval(gain)) else "No interval"
    return Tile(title, f"{gain.mean:+.4f}", unit, f"{interval}: {subject.label} mixture over {PROPORTIONAL}, {runs}")


def _beside_tile(content: Content) -> tuple[Tile, ...]:
    """The answer beside the strongest of the others, where that is not what it is compared with anyway."""
    made = content.decision
    if made.beside is None or made.beside[0] == PROPORTIONAL:
        return ()
    label, gain = made.beside
    of_baseline = "the best baseline" if made.rival(label).is_baseline else "the best candidate"
    shown = f"95% interval {interval}" if (interval := _interval(gain)) else "No interval"
    return (
        Tile(
            f"Confirmed gain over {of_baseline}",
            f"{gain.mean:+.4f}",
            content.unit,
            f"{shown} over {made.over}: {made.answer} over {label}, the noise estimated over all confirmed mixtures",
        ),
    )


def _trust_tile(content: Content) -> Tile:
    title, found = "Trust in the surrogate", content.held_out
    if isinstance(found, Missing):
        return Tile(title, "none", "", _sentence(found.reason))
    score = found.scores.objective
    basin = "" if score.basin is None else f"; {score.basin.pairwise:.0%} of the best quarter's pairs in their order"
    trusted = "trusted" if found.scores.trustworthy else "not shown to rank runs at the target better than chance"
    return Tile(
        title,
        correlation(score.spearman),
        "rank correlation",
        f"{found.surrogate} on {found.scores.runs} held-out mixtures, {trusted}; "
        f"{score.coverage_95:.0%} of them in their 95% interval{basin}",
    )


def decision_plots(content: Content) -> tuple[Plot, ...]:
    """The plots of the first screen: the mixture, and what it gains."""
    made = content.decision
    answer = made.rival(made.answer).mixture
    domains = sorted(answer, key=lambda domain: -answer[domain])
    weighty = (answer, made.rivals[0].mixture, made.rival(PROPORTIONAL).mixture)
    largest = sorted(domains, key=lambda domain: -max(mixture[domain] for mixture in weighty))[:MOST_ROWS]
    shown = [domain for domain in domains if domain in largest]
    # The proportional mixture is the first of the baselines.
    others = sorted(made.rivals, key=lambda each: not each.is_baseline)
    others = [each for each in others if each.label != made.answer]
    with_epochs = any(domain.epochs is not None for domain in content.domains.values())
    columns = (
        *("domain", ">answer", ">tokens"),
        *((">epochs",) if with_epochs else ()),
        *((">range as good",) if made.ranges else ()),
        *(f">{each.label}" for each in others),
    )
    levels = {name: level.domains for name, level in content.levels.items()}
    rows = tuple(
        (
            *(row.page_label, percent(row.sum_in(answer)), show_count(_tokens(content, row))),
            *(("" if row.is_level else _epochs(content.domains[row.name]),) if with_epochs else ()),
            *((" to ".join(map(percent, _range(made, row))),) if made.ranges else ()),
            *(percent(row.sum_in(each.mixture)) for each in others),
        )
        # Where there are levels, the order of the file, in which each has its parts below it.
        for row in in_levels(answer if levels else domains, levels)
    )
    ranged = "; the line spans a share over the mixtures that are expected to be as good" if made.ranges else ""
    mixture = Plot(
        "The recommended mixture",
        embed(plots.shares(made, shown)),
        f"Bars are the answer, marks what it is compared with{ranged}.{shorten(shown, domains, 'domains')}",
        Table(columns, rows),
        is_open=len(rows) <= MOST_ROWS,
    )
    if all(each.predicted is None and each.confirmed is None for each in made.rivals):
        return (mixture,)
    return (mixture, _gains(content))


def _tokens(content: Content, row: Row) -> int:
    return sum(content.domains[name].tokens for name in row.domains)


def _range(made: Decision, row: Row) -> tuple[float, float]:
    return made.ranges_of_levels[row.name] if row.is_level else made.ranges[row.name]


def _gains(content: Content) -> Plot:
    made = content.decision
    seeds = sorted({seed for each in made.rivals for seed in each.values}, key=int)
    compared = [each for each in made.rivals if not each.changes_nothing]
    rows = tuple(
        (
            each.label,
            *(cell for gain in (each.predicted, each.confirmed) for cell in _gain_cells(gain)),
            "" if each.beaten is None else f"{each.beaten:.0%}",
            *(f"{each.values[seed]:.4f}" if seed in each.values else "" for seed in seeds),
        )
        for each in made.rivals
    )
    return Plot(
        "What it gains",
        embed(plots.gains(compared, made.answer, content.unit)),
        "Predicted: one new run of each mixture, by the surrogate. Confirmed: the same training again with seeds that "
        f"the search never used; its intervals are over {made.over}. Right of 0 is better; an interval that reaches 0 "
        "does not show a difference.",
        Table(
            (
                *("mixture", ">predicted gain", "95% interval", ">confirmed gain", "95% interval"),
                *(">proposed beats it with", *(f">objective, seed {seed}" for seed in seeds)),
            ),
            rows,
        ),
    )


def _epochs(domain: DomainAnswer) -> str:
    """How often the final run repeats a domain, of how often it may."""
    if domain.epochs is None:
        return ""
    return f"{domain.epochs:.2f}" if domain.max_epochs is None else f"{domain.epochs:.2f} of {domain.max_epochs:g}"


def _gain_cells(gain: Gain | None) -> tuple[str, str]:
    return ("", "") if gain is None else (f"{gain.mean:+.4f}", _interval(gain))


def _interval(gain: Gain) -> str:
    return "" if gain.lower is None or gain.upper is None else f"{gain.lower:+.4f} to {gain.upper:+.4f}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
