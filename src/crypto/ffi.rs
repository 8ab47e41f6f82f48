//! The one module with `unsafe`: raw AWS-LC calls that the safe API lacks.
