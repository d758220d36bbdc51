//! What both sides of the wire agree on: console grammar, tickets, roles, records.
