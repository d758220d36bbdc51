//! Authority: lifecycle, workers, leases.
