"""From noise to pictures: levels, samplers, guidance."""
