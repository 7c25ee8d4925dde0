//! The project file: parsed, validated as a whole, and made into a plan.
