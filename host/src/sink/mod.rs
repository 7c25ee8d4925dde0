//! Where rows go beside the stores.

pub mod json_lines;
