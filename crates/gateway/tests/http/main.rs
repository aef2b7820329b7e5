//! The gateway over real sockets, in front of real hosts on a directory.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod page;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod support;
#[cfg(test)]
mod watching;
