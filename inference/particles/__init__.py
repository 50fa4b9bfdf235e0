"""States that are not seen: their likelihood by particles, the posterior of what they depend on, and forecasts."""

from inference.particles.chains import particle_mcmc
from inference.particles.filtering import particle_filter
from inference.particles.scoring import forecast_scores
from inference.particles.state_space_data import StateSpaceData

__all__ = ["StateSpaceData", "forecast_scores", "particle_filter", "particle_mcmc"]
