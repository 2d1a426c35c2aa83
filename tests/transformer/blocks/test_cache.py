import torch

from stepladder.transformer.blocks.cache import CHUNK, Cache
from tests.transformer import tiny


def test_grows_past_its_first_allocation_and_remembers_all() -> None:
    keys = torch.randn(6, 2, 3 * CHUNK + 3, 4)
    cache = Cache(1, 6, 2, 4, keys)
    t = 0
    for n in (1, 1, CHUNK + 3, 1, CHUNK - 2, CHUNK - 1):
        key, value = cache.put(0, keys[:, :, t : t + n], -keys[:, :, t : t + n])
        cache.advance(n)
        t += n
        assert torch.equal(key, keys[:, :, :t])
        assert torch.equal(value, -keys[:, :, :t])


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
