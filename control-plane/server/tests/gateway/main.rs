//! The control plane against real Envoys: what they accept, how soon a change is in force, what survives.

mod accepted;
mod changes;
mod injected;
mod redis;
mod refusals;
mod setup;
mod upgrade;
