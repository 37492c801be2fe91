"""Code for host and device."""
