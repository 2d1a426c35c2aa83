import torch

from stepladder.transformer.cache import CHUNK, Cache
from tests.transformer import tiny


def _cache(batch: int, beams: int) -> Cache:
    return Cache([(torch.randn(batch, 2, 3, 4), torch.randn(batch, 2, 3, 4))], None, beams)


def test_grows_past_its_first_allocation_and_remembers_all() -> None:
    cache, keys = _cache(2, 3), torch.randn(6, 2, 2 * CHUNK + 3, 4)
    for t in range(keys.shape[2]):
        key, value = cache.remember(0)(keys[:, :, t : t + 1], -keys[:, :, t : t + 1])
        cache.advance()
        assert torch.equal(key, keys[:, :, : t + 1])
        assert torch.equal(value, -keys[:, :, : t + 1])


def test_reorder_and_keep_are_as_if_only_those_had_been_decoded() -> None:
    model, source = tiny.model(), tiny.sentences([5, 3, 7])
    tokens = torch.randint(3, tiny.VOCABULARY, (3, 2, 4))
    with torch.inference_mode():
        cache = model.start(source, beams=2)
        for t in range(3):
            model.step(tokens[:, :, t], cache)
        cache.keep(torch.tensor([2, 0]))
        cache.reorder(torch.tensor([5, 5, 0, 1]))
        found = model.step(tokens[[2, 0], :, 3], cache)

        history = torch.stack([tokens[2, 1], tokens[2, 1], tokens[0, 0], tokens[0, 1]])
        history[:, 3] = tokens[[2, 0], :, 3].flatten()
        expected = model(source[[2, 2, 0, 0]], history)[:, -1].view(2, 2, -1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
