//! Files and labels of the buildpack and platform specifications as plain data.
