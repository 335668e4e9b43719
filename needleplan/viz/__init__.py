"""Figures: the patient in three dimensions, planes, margins and breathing. Nothing outside viz and app draws."""
