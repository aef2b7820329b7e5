//! Scenarios of whole clusters of real hosts, and of members of an election, in a simulated world.

#[cfg(test)]
mod bad_days;
#[cfg(test)]
mod bank;
#[cfg(test)]
mod counts;
#[cfg(test)]
mod deferred;
#[cfg(test)]
mod elections;
#[cfg(test)]
mod failovers;
#[cfg(test)]
mod forks;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod listings;
#[cfg(test)]
mod missing;
#[cfg(test)]
mod namesakes;
#[cfg(test)]
mod plot;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod tally;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod watches;
