"""Per-descriptor maths for host and device."""
