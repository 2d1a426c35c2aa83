"""Scores of translations and summaries: BLEU, chrF, TER, exact match, ROUGE, and BLEU as older papers compute it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from stepladder.evaluation.text.measure import Floats, Score

References = Sequence[Sequence[str]]  # one or several for each item
ROUGE = ("rouge1", "rouge2", "rougeL")
UNSPACED = ("zh", "ja")  # languages written without spaces


def translation_scores(translations: list[str], references: References, languages: Sequence[str]) -> list[Score]:
    """Corpus scores of ``translations`` from 0 to 100, cased and detokenised, and the share of exact matches.

    BLEU (Papineni et al. 2002; Post 2018), chrF (Popovic 2015), TER (Snover et al. 2006; smaller is better).

    Args:
        languages: of each translation, for BLEU's tokenisation: "zh" for Chinese, characters for Japanese, else 13a; and for
            TER's, whose words are then single characters, by sacreBLEU's asian_support, which takes normalised text.
    """
    language = languages[0][:2] if len(set(languages)) == 1 else ""
    asian = language in UNSPACED
    exact = np.array([[t in r, 1] for t, r in zip(translations, references, strict=True)], dtype=np.float64)
    return [
        _sacrebleu("bleu", BLEU(tokenize={"zh": "zh", "ja": "char"}.get(language, "13a")), translations, references),
        _sacrebleu("chrf", CHRF(), translations, references),
        _sacrebleu("ter", TER(normalized=asian, asian_support=asian), translations, references),
        Score("exact_match", exact, _mean),
    ]


def lowercased_tokenised_bleu(
    translations: list[str], references: References, languages: Sequence[str]
) -> Score | None:
    """BLEU of lower-cased text that Moses' scripts normalise and tokenise, as papers on Multi30k before 2018 report it.

    Not comparable with cased BLEU; None where a language is written without spaces.
    """
    if any(language[:2] in UNSPACED for language in languages):
        return None
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    tools = {code: (MosesPunctNormalizer(code), MosesTokenizer(code)) for code in {name[:2] for name in languages}}

    def prepare(text: str, language: str) -> str:
        normaliser, tokeniser = tools[language[:2]]
        return str(tokeniser.tokenize(normaliser.normalize(text), return_str=True)).lower()

    bleu = _sacrebleu(
        "bleu_lowercased_tokenised",
        BLEU(tokenize="none", lowercase=True, force=True),
        [prepare(text, language) for text, language in zip(translations, languages, strict=True)],
        [[prepare(r, language) for r in several] for several, language in zip(references, languages, strict=True)],
    )
    signature = f"{bleu.signature}|moses:{version('sacremoses')}.{'+'.join(sorted(tools))}"
    return Score(bleu.name, bleu.statistics, bleu.of, signature=signature)


def rouge(summaries: list[str], references: References) -> list[Score]:
    """Mean F1 of ROUGE-1, -2 and -L (Lin 2004), from 0 to 100, each the best over several references, words stemmed.

    Words are made of a to z and digits: text in other scripts is ignored.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(ROUGE, use_stemmer=True)
    items = [scorer.score_multi(r, summary) for summary, r in zip(summaries, references, strict=True)]
    signature = f"f1|stem:porter|nrefs:{_nrefs(references)}|version:rouge-score {version('rouge-score')}"
    return [
        Score(
            name.lower(), np.array([[100 * f[name].fmeasure, 1] for f in items]), _mean, signature=f"{name}|{signature}"
        )
        for name in ROUGE
    ]


def sentence_chrf(translations: list[str], references: References) -> list[float]:
    """chrF of each translation by itself."""
    chrf = CHRF()
    return [chrf.sentence_score(t, list(r)).score for t, r in zip(translations, references, strict=True)]


def _sacrebleu(name: str, metric: Any, translations: list[str], references: References) -> Score:
    # sacreBLEU wants all first references, all second ones, ...; None where an item has fewer
    statistics = metric._extract_corpus_statistics(translations, list(zip(*_padded(references), strict=True)))
    return Score(
        name,
        np.array(statistics, dtype=np.float64),
        lambda total: float(metric._compute_score_from_stats(total.tolist()).score),
        signature=str(metric.get_signature()),
    )


def _padded(references: References) -> list[list[str | None]]:
    longest = max(map(len, references))
    return [[*several, *[None] * (longest - len(several))] for several in references]


def _nrefs(references: References) -> str:
    counts = {len(several) for several in references}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _mean(total: Floats) -> float:
    return float(total[0] / total[1])
