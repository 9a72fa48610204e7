"""Event loops, time and async iterators: what knows neither HTTP nor the service."""
