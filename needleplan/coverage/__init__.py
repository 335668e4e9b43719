"""The fewest insertions whose zones cover target plus margin."""
