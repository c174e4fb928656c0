"""The protocol of `holdfast-sessiond`, and its client."""
