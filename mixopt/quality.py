"""From a study file that asks for levels of quality to pools that are cut into them, and the study file over these.

Everything is scored before anything is written, and the new study file comes last: where it is, all that it names is
whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from mixopt.base.errors import ConfigError, all_at_once
from mixopt.base.files import write_text
from mixopt.results.quality import CutPool, Quality, QualityLevel, ScoreRange
from mixopt.settings.cut_study import PartOfDomain, cut_study
from mixopt.settings.editing import check_editable
from mixopt.settings.new_study import BYTES_PER_TOKEN
from mixopt.settings.reading import parse, place_in
from mixopt.settings.schema import QualitySettings, StudyFile, TextSource
from mixopt.study.corpus import domain_sources, named_sources, source_of
from proxies.data.intake import OnProgress
from proxies.data.sources import Source, check_readable, find_files, would_read
from proxies.quality.levels import Pool, Scored, check_fields, level_file, level_name, score_pool, write_levels
from proxies.quality.scores import Score


def cut_pools(file: StudyFile, folder: Path, new: Path, on_progress: OnProgress) -> Quality:
    """
    Args:
        folder: gets a folder for each domain that is cut.
        new: the new study file, in the folder of the old one.

    Raises:
        ConfigError, ProxyError: nothing asks for levels, what is asked for does not go together with the text, other
            files are where the new ones are to be, or a file is broken.
    """
    if not file.to_be_cut:
        raise ConfigError(
            f"{file.file}: no domain asks for levels of quality",
            hint="write quality: {scorer: ...} into a domain, or at the top for all; see docs/how-to/quality.md",
        )
    check_editable(file.text, file.file)
    if new.absolute().parent != file.file.absolute().parent:
        raise ConfigError(
            f"{new} is in another folder than {file.file}", hint="its paths are relative: give a name alone"
        )
    if new.exists():
        raise ConfigError(f"{new} exists", hint="choose another name with --study-file, or remove it")
    pools = {name: _pool(file, name, quality) for name, quality in file.to_be_cut.items()}
    all_at_once(
        check
        for name, pool in pools.items()
        for check in (partial(_check_folder, file, pools, folder / name), partial(_check, pool))
    )
    # With as many levels as are asked for, of equal size: what the file does not bear shows before the work.
    stand_ins = {name: _parts(folder / name, new, [1 / pool.levels] * pool.levels) for name, pool in pools.items()}
    parse(cut_study(file, stand_ins, new.name), new)
    scored = {name: score_pool(pool, on_progress) for name, pool in pools.items()}
    parts = {name: _parts(folder / name, new, each.shares) for name, each in scored.items()}
    text = cut_study(file, parts, new.name)
    parse(text, new)  # before anything is written
    found = []
    for name, each in scored.items():
        written = write_levels(each, folder / name, on_progress)
        levels = tuple(
            QualityLevel(
                name=f"{name}.{level.name}",
                file=str(level.file),
                documents=level.documents,
                bytes=level.bytes,
                scores={
                    score.name: ScoreRange(least=least, most=most)
                    for score, least, most in zip(each.pool.scores, level.least, level.most, strict=True)
                },
            )
            for level in written
        )
        found.append(CutPool(domain=name, asked_levels=each.pool.levels, levels=levels))
    write_text(new, text)
    return Quality(study_file=str(new), pools=tuple(found), notes=tuple(_notes(file, scored)))


def _pool(file: StudyFile, name: str, quality: QualitySettings) -> Pool:
    """
    Raises:
        ConfigError: the study file does not say where the domain's text is.
    """
    source = {each.name: each for each in domain_sources(file)}.get(name)
    if source is None:
        raise ConfigError(
            f"{place_in(file, 'domains', name)}: there is no text to score", hint="give paths, or remove quality"
        )
    sample = file.domains[name].sample
    return Pool(
        source,
        tuple(
            Score(
                score.scorer,
                score.field,
                score.best,
                None if score.good is None else _good(file, name, score.good),
                score.weight,
            )
            for score in quality.every_score
        ),
        quality.levels,
        file.seed,
        None if sample is None else round(BYTES_PER_TOKEN * sample),
    )


def _good(file: StudyFile, name: str, settings: TextSource) -> Source:
    return source_of(file, f"good text for {name}", settings)


def _check(pool: Pool) -> None:
    """What shows in the first records.

    Raises:
        ProxyError: a file is not there or broken, or has no such field.
    """
    check_readable(pool.source, find_files(pool.source))
    check_fields(pool)
    for score in pool.scores:
        if score.good is not None:
            check_readable(score.good, find_files(score.good))


def _check_folder(file: StudyFile, pools: Mapping[str, Pool], folder: Path) -> None:
    """
    Raises:
        ConfigError: what is to be written there would take the place of other levels, or become text of the study.
    """
    if there := sorted(folder.glob(level_file("*"))):
        raise ConfigError(f"{there[0]} exists", hint="choose another folder with --output, or remove these levels")
    good = (score.good for pool in pools.values() for score in pool.scores)
    for source in (*(source for _, source in named_sources(file)), *filter(None, good)):
        if would_read(source, folder / level_file("1")):
            raise ConfigError(
                f"the levels would come to lie in {folder}, which {source.name} reads",
                hint="choose another folder with --output",
            )


def _real_files(source: Source) -> set[str]:
    """Of a source, whatever links lead there."""
    return {os.path.realpath(file.url) if file.is_local else file.url for file in find_files(source)}


def _parts(folder: Path, new: Path, shares: Sequence[float]) -> tuple[PartOfDomain, ...]:
    base = os.path.relpath(folder.absolute(), new.absolute().parent)
    return tuple(
        PartOfDomain(level_name(place), f"{base}/{level_file(place)}", share) for place, share in enumerate(shares, 1)
    )


def _notes(file: StudyFile, scored: dict[str, Scored]) -> Iterator[str]:
    for name, each in scored.items():
        if each.levels < each.pool.levels:
            tie = f"{each.largest_tie:.0%} of its text has one and the same rank"
            why = "a single text cannot be both trained and measured on" if each.joined else tie
            yield f"{name}: {each.levels} levels in place of {each.pool.levels}: {why}"
        pool = _real_files(each.pool.source)
        for score in each.pool.scores:
            if score.good is not None and (both := len(pool & _real_files(score.good))):
                yield (
                    f"{name}: {both} of the {len(pool)} files of the pool are {score.name}'s good text as well, so it "
                    "knows them rather than what is good in them: name text from elsewhere in good"
                )
        domain = file.domains[name]
        if domain.sample is not None and domain.tokens is None:
            yield f"{name}: only a sample was read; give the tokens of each of its levels, in the new study file"
    judged = set(file.objective.weights or file.objective.metrics or (*file.domains, *file.evaluation))
    if file.objective.families is None and (own := [name for name in scored if name in judged]):
        yield (
            f"the objective judges {', '.join(islice(own, 3))}{', ...' * (len(own) > 3)} by held-out text of the best "
            "level, so by the score itself: an evaluation set of text that you know to be good says more"
        )
