//! Hosts as processes, and what becomes of acknowledged commands when processes are stopped, killed and started again.
//!
//! One binary, because linking is what costs. The tests wait for conditions, never for a span of time, and each condition
//! has a limit. They take turns: on a small machine, clusters beside each other would only suspect each other's hosts.

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod demo_on_s3;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod quiet;
#[cfg(test)]
mod replaced;
#[cfg(test)]
mod restarting;
#[cfg(test)]
mod starting;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod support;
