//! The disk as the engine sees it (to come).
