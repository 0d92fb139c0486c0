//! Records on a real disk: kept, damaged, recovered.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    sync::Barrier,
    thread,
};

use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fruit {
    name: String,
    padding: String,
}

impl Record for Fruit {
    const TABLE: &'static str = "fruit";
    const VERSION: u32 = 2;

    fn upgrade(version: u32, value: serde_json::Value) -> Option<Self> {
        let name = value.as_str()?.to_owned();
        (version == 1).then_some(Self { name, padding: String::new() })
    }
}

/// The table as the release before wrote it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct OldFruit(String);

impl Record for OldFruit {
    const TABLE: &'static str = "fruit";
    const VERSION: u32 = 1;
}

fn fruit(name: &str) -> Fruit {
    Fruit { name: name.into(), padding: String::new() }
}

fn large(name: &str) -> Fruit {
    Fruit { name: name.into(), padding: name.repeat(500) }
}

#[test]
fn records_come_back_also_after_reopening() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.redb");
    {
        let (database, damage) = Database::open(&path).unwrap();
        assert!(damage.is_empty());
        let table = database.table::<Fruit>();
        assert_eq!(table.get("1").unwrap(), None);
        assert!(table.iter().unwrap().good.is_empty());
        table.put("1", &fruit("fig")).unwrap();
        table.put_lazy("2", &fruit("plum")).unwrap();
        assert_eq!(table.get("2").unwrap(), Some(fruit("plum")));
        table.put_many([("3", &fruit("pear")), ("4", &fruit("kiwi"))]).unwrap();
        table.remove("3").unwrap();
        table.put_lazy("5", &fruit("date")).unwrap();
    }
    let (database, damage) = Database::open(&path).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    let rows = database.table::<Fruit>().iter().unwrap();
    let names: Vec<&str> = rows.good.iter().map(|(_, it)| it.name.as_str()).collect();
    assert_eq!(names, ["fig", "plum", "kiwi", "date"]);
}

#[test]
fn a_row_of_an_older_release_is_upgraded() {
    let scratch = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&scratch.path().join("a.redb")).unwrap();
    database.table::<OldFruit>().put("1", &OldFruit("fig".into())).unwrap();
    assert_eq!(database.table::<Fruit>().get("1").unwrap(), Some(fruit("fig")));
}

#[test]
fn parallel_writers_share_commits_and_lose_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&scratch.path().join("a.redb")).unwrap();
    let barrier = Barrier::new(64);
    thread::scope(|scope| {
        for number in 0..64 {
            let (database, barrier) = (&database, &barrier);
            scope.spawn(move || {
                barrier.wait();
                database.table::<Fruit>().put(&number.to_string(), &fruit("fig")).unwrap();
            });
        }
    });
    assert_eq!(database.table::<Fruit>().iter().unwrap().good.len(), 64);
}

#[test]
fn a_damaged_row_is_moved_aside_and_the_others_stay() {
    let scratch = tempfile::tempdir().unwrap();
    let (database, _) = Database::open(&scratch.path().join("a.redb")).unwrap();
    let table = database.table::<Fruit>();
    table.put("1", &fruit("fig")).unwrap();
    let broken =
        Change { table: Fruit::TABLE, key: "2".into(), value: Some(b"garbage, and long".to_vec()) };
    database.writer.submit(vec![broken], true).wait().unwrap();
    let error = table.get("2").unwrap_err();
    assert_eq!(error.to_string(), "row \"2\" of table fruit is damaged");
    let rows = table.iter().unwrap();
    assert_eq!((rows.good.len(), rows.damaged.len()), (1, 1));
    let rows = table.iter().unwrap();
    assert_eq!((rows.good.len(), rows.damaged.len()), (1, 0));
    let aside = database.shared.read(|file| read_row(file, ASIDE, "fruit/2")).unwrap();
    assert_eq!(aside.unwrap(), b"garbage, and long");
}

#[test]
fn a_file_that_is_not_a_database_is_set_aside() {
    for garbage in [Vec::new(), b"not a database".repeat(1000), vec![0; 1 << 20]] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a.redb");
        fs::write(&path, &garbage).unwrap();
        let (database, damage) = Database::open(&path).unwrap();
        let [Damage::File { aside, .. }] = &damage[..] else { panic!("{damage:?}") };
        assert_eq!(fs::read(aside).unwrap(), garbage);
        database.table::<Fruit>().put("1", &fruit("fig")).unwrap();
    }
}

fn filled(path: &Path) {
    let (database, _) = Database::open(path).unwrap();
    let table = database.table::<Fruit>();
    let rows: Vec<(String, Fruit)> =
        (0..100).map(|it| (it.to_string(), large(&it.to_string()))).collect();
    table.put_many(rows.iter().map(|(key, row)| (key.as_str(), row))).unwrap();
}

/// Opens what became of the file and demands that every row that is there is as it was written.
fn check_damaged(path: &Path, what: &str) -> usize {
    let (database, _) = Database::open(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    let rows = database.table::<Fruit>().iter().unwrap_or_else(|it| panic!("{what}: {it}"));
    for (key, row) in &rows.good {
        assert_eq!(*row, large(key), "{what}");
    }
    database.table::<Fruit>().put("new", &large("new")).unwrap();
    rows.good.len()
}

#[test]
fn a_truncated_file_never_keeps_the_store_from_opening() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.redb");
    filled(&path);
    let whole = fs::read(&path).unwrap();
    for eighths in 0..8 {
        fs::write(&path, &whole[..whole.len() * eighths / 8]).unwrap();
        check_damaged(&path, &format!("truncated to {eighths}/8"));
    }
}

#[test]
fn flipped_bytes_cost_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.redb");
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let mut kept = 0;
    let mut rounds = 0;
    let copy = mirror::path_of(&path);
    let whole_copy = fs::read(&copy).unwrap();
    for at in (0..whole.len()).step_by(4096 * 23 + 13) {
        fs::write(&path, &whole).unwrap();
        fs::write(&copy, &whole_copy).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[!whole[at]], at as u64).unwrap();
        kept += check_damaged(&path, &format!("flipped byte {at}"));
        rounds += 1;
    }
    assert_eq!(kept, rounds * 100);
}

#[test]
fn any_one_file_can_be_lost() {
    for is_copy in [false, true] {
        for damage in ["deleted", "emptied", "overwritten", "halved"] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("a.redb");
            filled(&path);
            let lost = if is_copy { mirror::path_of(&path) } else { path.clone() };
            let whole = fs::read(&lost).unwrap();
            match damage {
                "deleted" => fs::remove_file(&lost).unwrap(),
                "emptied" => fs::write(&lost, "").unwrap(),
                "halved" => fs::write(&lost, &whole[..whole.len() / 2]).unwrap(),
                _ => fs::write(&lost, b"garbage!".repeat(whole.len() / 8)).unwrap(),
            }
            let rows = check_damaged(&path, damage);
            assert_eq!(rows, 100, "{damage}, copy: {is_copy}");
            // What was lost is there again.
            fs::remove_file(if is_copy { path.clone() } else { mirror::path_of(&path) }).unwrap();
            assert_eq!(
                Database::open(&path).unwrap().0.table::<Fruit>().iter().unwrap().good.len(),
                101
            );
        }
    }
}
