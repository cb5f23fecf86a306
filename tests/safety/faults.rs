//! Each call to the place fails once, at every n; what came of it is whole, and doing it again gets it done.
