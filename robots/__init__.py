"""Robot arms that carry a needle guide: descriptions, kinematics, reach, insertion routes (metres, radians)."""
