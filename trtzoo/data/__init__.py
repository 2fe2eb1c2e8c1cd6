"""The published tables: `published.toml`, figure by figure as PaddleClas printed them."""
