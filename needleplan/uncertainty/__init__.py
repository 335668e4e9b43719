"""What a plan is worth when needles land beside their aims: errors, scenarios, probabilities, robust choice."""
