"""Heat in living tissue: the Pennes equation with freezing, boiling, perfusion and damage."""
