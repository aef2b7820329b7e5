//! Whole clusters of real hosts in a simulated world: the stories that a promise is made of.

mod bad_days;
mod bank;
mod chaos;
mod counts;
mod failovers;
mod tally;
