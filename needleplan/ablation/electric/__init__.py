"""Electric potential about electrodes in tissue, and diffusion problems of the same form."""
