"""A study's text: where it lies, and the tokens that are made of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mixopt.results.corpus import CorpusSummary, DomainTokens
from mixopt.settings.schema import StudyFile, TextSource
from proxies.data.corpus import Corpus, CorpusSettings, Progress, find_prepared, prepare
from proxies.data.sources import Source
from proxies.errors import ProxyError


def prepare_corpus(file: StudyFile, on_progress: Callable[[Progress], None]) -> Corpus:
    """The study's tokens: made now, or found as they were made before."""
    return prepare(*_corpus_request(file), on_progress)


def find_corpus(file: StudyFile) -> Corpus | None:
    """The study's tokens where they are prepared already, and still those of its text; None otherwise."""
    return find_prepared(*_corpus_request(file))


def open_corpus(file: StudyFile) -> Corpus | None:
    """The tokens that were prepared last, of whatever text; None where there are none."""
    try:
        return Corpus.open(_directory(file))
    except ProxyError:
        return None


def domain_sources(file: StudyFile) -> list[Source]:
    """Where the text of each domain lies; of those that say it, where another trainer has the text."""
    return [source_of(file, name, domain, domain.sample) for name, domain in file.domains.items() if domain.paths]


def named_sources(file: StudyFile) -> Iterator[tuple[str, Source]]:
    """Each source with the section of the study file that names it."""
    for source in domain_sources(file):
        yield "domains", source
    for source in _evaluation_sources(file):
        yield "evaluation", source


def tokenizer_file(file: StudyFile) -> str | None:
    """The path or URL of the tokenizer that the study names."""
    return None if file.corpus.tokenizer is None else relative_to_study(file.file, file.corpus.tokenizer)


def _evaluation_sources(file: StudyFile) -> list[Source]:
    return [source_of(file, name, evaluation, None) for name, evaluation in file.evaluation.items()]


def _corpus_request(file: StudyFile) -> tuple[list[Source], list[Source], CorpusSettings, Path]:
    """Domains, evaluation sets, settings and folder of the study's corpus."""
    settings = file.corpus
    return (
        domain_sources(file),
        _evaluation_sources(file),
        CorpusSettings(
            tokenizer_file=tokenizer_file(file),
            vocabulary=settings.vocabulary,
            validation_tokens=settings.validation_tokens,
            validation_share=settings.validation_share,
            workers=settings.workers,
        ),
        _directory(file),
    )


def _directory(file: StudyFile) -> Path:
    return file.work_directory / "corpus"


def source_of(file: StudyFile, name: str, settings: TextSource, sample: int | None = None) -> Source:
    """Where the text of a section lies; of no more than `sample` tokens, where that is given."""
    return Source(
        name=name,
        paths=tuple(relative_to_study(file.file, path) for path in settings.paths),
        text_field=settings.text or "text",
        prompt_field=settings.prompt,
        completion_field=settings.completion,
        split=settings.split,
        max_tokens=sample,
    )


def relative_to_study(study_file: Path, path: str) -> str:
    """A path of the study file, relative to it; URLs and hub names as they are."""
    if "://" in path or path.startswith("hf:"):
        return path
    return os.path.normpath(study_file.parent.absolute() / Path(path).expanduser())


def summarise_corpus(corpus: Corpus) -> CorpusSummary:
    return CorpusSummary(
        directory=str(corpus.directory),
        fingerprint=corpus.fingerprint,
        vocabulary=corpus.vocabulary,
        domains={
            name: DomainTokens(
                documents=domain.documents,
                train_tokens=domain.train_tokens,
                validation_tokens=domain.validation_tokens,
                confirmation_tokens=domain.confirmation_tokens,
                mean_document_tokens=domain.mean_document_tokens,
                dropped_empty=domain.dropped_empty,
                dropped_contaminated=domain.dropped_contaminated,
            )
            for name, domain in corpus.domains.items()
        },
        evaluation_sets=tuple(corpus.evaluation_sets),
    )
