//! The limits, checked.

/// All limits.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Queries that run at once.
    pub(crate) running: usize,
    /// Of one principal.
    pub(crate) running_per_principal: usize,
    /// Queries that wait.
    pub(crate) queued: usize,
    /// Of one principal.
    pub(crate) queued_per_principal: usize,
    /// How many gateways share the limits; each has its part of the queues.
    pub(crate) replicas: usize,
    /// A class that waits for longer is next, each second time. Microseconds.
    pub(crate) ageing: u64,
    /// The classes, at least one.
    pub(crate) classes: Vec<ClassPlan>,
    /// The groups that have limits.
    pub(crate) groups: Vec<GroupPlan>,
}

/// The limits of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassPlan {
    /// Its share of what nobody is guaranteed, from 1 to 1000.
    pub(crate) weight: u32,
    /// Slots that it gets before others while it has fewer.
    pub(crate) guaranteed: usize,
    /// Slots that others do not get while it does not use them.
    pub(crate) reserved: usize,
    /// Queries that run at once.
    pub(crate) running: usize,
    /// Of one principal.
    pub(crate) running_per_principal: usize,
    /// Queries that wait.
    pub(crate) queued: usize,
}

/// The limits of a group's members together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupPlan {
    /// Queries that run at once.
    pub(crate) running: usize,
    /// Queries that wait.
    pub(crate) queued: usize,
}
