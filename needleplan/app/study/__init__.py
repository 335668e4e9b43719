"""Studies: many cases crossed with many factors, run, resumed, analysed and reported."""
