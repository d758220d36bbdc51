//! The door: the namespace server that every client talks to.
