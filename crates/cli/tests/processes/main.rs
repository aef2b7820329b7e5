//! Hosts as processes: acknowledged commands survive when processes are stopped, killed and restarted.
//!
//! One binary, because linking is slow. The tests wait for conditions, each with a time limit. They run one after the
//! other: on a small machine several clusters at once would cause false suspicions.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod demo_on_s3;
#[cfg(test)]
mod domains;
#[cfg(test)]
mod elect;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod history;
#[cfg(test)]
mod http;
#[cfg(test)]
mod kinds_page;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod mixed;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod quiet;
#[cfg(test)]
mod releases;
#[cfg(test)]
mod replaced;
#[cfg(test)]
mod restarting;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod secure;
#[cfg(test)]
mod starting;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod support;
