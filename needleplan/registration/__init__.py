"""Registration of frames by points, surfaces and calibration, each with its covariance (millimetres, radians)."""
