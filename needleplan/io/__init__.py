"""Files of other programs, converted at the door to patient LPS millimetres."""
