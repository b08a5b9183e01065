//! Which rights of a catalog's grants a change needs, as Polaris has them.

use crate::catalog::RelationKind;
use crate::catalog::rest::Right;
use crate::sql::Change;

/// The rights that a change of a target needs, all of them. `exists` is whether it is there; `second` whether it is the new
/// name of the first.
pub(super) fn rights(change: &Change, target: RelationKind, exists: bool, second: bool) -> &'static [Right] {
    match change {
        Change::Insert | Change::Truncate | Change::Delete | Change::Update | Change::Merge => {
            &[Right::WriteTable]
        }
        // What is replaced is dropped.
        Change::CreateTableAs { .. } | Change::CreateTable { .. } if exists => {
            &[Right::CreateTable, Right::DropTable, Right::WriteTable]
        }
        Change::CreateTableAs { .. } => &[Right::CreateTable, Right::WriteTable],
        Change::CreateTable { .. } => &[Right::CreateTable],
        Change::DropTable => &[Right::DropTable],
        Change::RenameTable if second => &[Right::CreateTable],
        Change::RenameTable => &[Right::DropTable, Right::AlterTable],
        // Files are written anew, or deleted.
        Change::Execute { .. } => &[Right::WriteTable, Right::AlterTable],
        Change::Comment if target != RelationKind::Table => &[Right::AlterView],
        Change::AddColumn { .. }
        | Change::DropColumn
        | Change::RenameColumn { .. }
        | Change::AlterColumn
        | Change::SetProperties { .. }
        | Change::Comment
        | Change::Analyze => &[Right::AlterTable],
        Change::CreateView { .. } if exists => &[Right::CreateView, Right::AlterView],
        Change::CreateView { .. } => &[Right::CreateView],
        Change::RenameView if second => &[Right::CreateView],
        Change::RenameView => &[Right::DropView, Right::AlterView],
        Change::DropView => &[Right::DropView],
        // Its rows are a table's.
        Change::CreateMaterializedView { .. } => &[Right::CreateView, Right::CreateTable, Right::WriteTable],
        Change::RefreshMaterializedView => &[Right::AlterView, Right::WriteTable],
        Change::DropMaterializedView => &[Right::DropView, Right::DropTable],
        Change::CreateSchema { .. } => &[Right::CreateNamespace],
        Change::DropSchema { .. } => &[Right::DropNamespace],
    }
}
