//! How methods of the store reach the database: reads by the readers, writes by the writer's task.

/// Runs a read.
macro_rules! read {
    ($self:ident, |$db:ident| $work:expr) => {{
        let mut connection = $crate::error::Context::context($self.readers.acquire().await, "connecting")?;
        let $db = &mut *connection;
        $work.await
    }};
}
pub(super) use read;

/// Runs a write, at the time at which its turn comes, with a copy of each value that it names: the writer
/// outlives who asks it.
macro_rules! write {
    ($self:ident, [$($value:ident),*], |$db:ident, $now:ident| $work:expr) => {{
        $(let $value = $value.to_owned();)*
        let clock = std::sync::Arc::clone(&$self.clock);
        $self.writer
            .run(move |$db| {
                Box::pin(async move {
                    let $now = clock.now();
                    $(let $value = &$value;)*
                    $work.await
                })
            })
            .await
    }};
}
pub(super) use write;
/// There is a transaction around whatever the writer does.
pub(super) use write as write_each;

/// Writes in the next batch of its kind.
macro_rules! batch {
    ($self:ident, $kind:ident, $item:expr) => {
        $self.call_writes.$kind.write($item).await
    };
}
pub(super) use batch;
