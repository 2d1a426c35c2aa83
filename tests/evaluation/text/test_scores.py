import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.ter import TER

from stepladder.evaluation.text.scores import lowercased_tokenised_bleu, rouge, sentence_chrf, translation_scores
from stepladder.metrics.texts import FIGURES

REFERENCES = ["the cat sat on the mat", "a dog", "Україна", "much ado about nothing at all"] * 5
TRANSLATIONS = ["the cat sat on a mat", "a dog", "Украіна", "nothing at all"] * 5
ONE = [[r] for r in REFERENCES]
ENGLISH = ["en"] * len(REFERENCES)


def test_scores_are_those_of_sacrebleu_and_carry_its_signatures() -> None:
    found = {m.name: m for m in translation_scores(TRANSLATIONS, ONE, ENGLISH)}
    assert found["bleu"].value == pytest.approx(BLEU().corpus_score(TRANSLATIONS, [REFERENCES]).score)
    assert found["ter"].value == pytest.approx(TER().corpus_score(TRANSLATIONS, [REFERENCES]).score)
    assert found["exact_match"].value == 0.25
    assert "tok:13a" in found["bleu"].signature
    assert "nc:6" in found["chrf"].signature
    assert "tok:tercom" in found["ter"].signature
    assert [m.name for m in found.values() if FIGURES[m.name].smaller_is_better] == ["ter"]
    perfect = [m.value for m in translation_scores(REFERENCES, ONE, ENGLISH)]
    assert perfect == pytest.approx([100, 100, 0, 1])


def test_chinese_and_japanese_are_told_apart_by_characters() -> None:
    for language, how in (("zh_CN", "tok:zh"), ("ja", "tok:char"), ("de", "tok:13a")):
        assert how in translation_scores(["你好"], [["你好"]], [language])[0].signature
    right, wrong = ["我今天去学校上课。", "他喜欢吃苹果和香蕉。"], ["我今天去学校上学。", "他喜欢吃苹果和西瓜。"]
    for language in ("zh", "ja"):
        ter = {m.name: m for m in translation_scores(wrong, [[r] for r in right], [language] * 2)}["ter"]
        theirs = TER(normalized=True, asian_support=True)
        assert ter.value == pytest.approx(theirs.corpus_score(wrong, [right]).score)
        assert 10 < ter.value < 20, "three characters of nineteen; of whole sentences it would be 100"
        assert "asian:yes" in ter.signature
    mixed = translation_scores(["你好", "a"], [["你好"], ["a"]], ["zh", "de"])[0]
    assert "tok:13a" in mixed.signature


def test_of_several_references_each_counts() -> None:
    references = [["a small dog ran", "one little dog ran off"], ["the house stands here"]]
    found = {
        m.name: m.value
        for m in translation_scores(["one little dog ran off", "the house stands here"], references, ["en"] * 2)
    }
    assert found["exact_match"] == 1
    assert found["bleu"] == pytest.approx(100)
    assert sentence_chrf(["one little dog ran off"], references[:1]) == pytest.approx([100])


def test_bleu_as_older_papers_have_it_is_that_of_text_tokenised_by_moses() -> None:
    translations = ["Ein Mann sagt „Hallo“, geht weg.", "Zwei Hunde (klein) rennen!", "Das T-Shirt kostet 3.50 Euro."]
    references = [
        'ein mann sagt "hallo" , geht weg .',
        "zwei hunde ( klein ) rennen !",
        "das t-shirt kostet 3.50 euro .",
    ]
    found = lowercased_tokenised_bleu(translations, [[t] for t in references], ["de"] * 3)
    assert found is not None
    assert found.value == pytest.approx(100)
    assert "case:lc" in found.signature
    assert "tok:none" in found.signature
    assert found.signature.endswith(".de")
    cased = translation_scores(translations, [[r] for r in references], ["de"] * 3)[0]
    assert cased.value < 60
    assert lowercased_tokenised_bleu(["你好"], [["你好"]], ["zh"]) is None


def test_rouge_is_the_best_over_the_references() -> None:
    summaries = ["The cat sat on mats today.", "We train networks."]
    references = [
        ["A cat sits on the mat", "Nothing alike"],
        ["We trained a network", "training networks is what we do"],
    ]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for measure, name in zip(rouge(summaries, references), ("rouge1", "rouge2", "rougeL"), strict=True):
        best = [
            max(scorer.score(r, s)[name].fmeasure for r in several)
            for s, several in zip(summaries, references, strict=True)
        ]
        assert measure.value == pytest.approx(50 * sum(best))
        assert measure.name == name.lower()
        assert "nrefs:2" in measure.signature


def test_sentence_scores() -> None:
    scores = sentence_chrf(TRANSLATIONS, ONE)
    assert scores[1] == pytest.approx(100)
    assert max(scores[0], scores[2]) < 100
