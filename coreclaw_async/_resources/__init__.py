"""One module per group of endpoints, one method per operation; what they share stands beside them."""
