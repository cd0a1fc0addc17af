//! Values in, values out.
