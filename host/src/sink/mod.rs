//! Where rows go beside the stores.
