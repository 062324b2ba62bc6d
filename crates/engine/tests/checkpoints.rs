//! Checkpoints on virtual time: blocks, schedules, times computed by hand, and the files that remain after failures.

mod world;

use dlio_engine::{Error, ErrorClass, Loading};
use dlio_event::{OpKind, Phase};
use dlio_storage::ErrorKind;
use world::{MS, empty, keys, sim};

const LLAMA: &str = "type: transformer, num_layers: 4, parallelism: {tensor: 1, pipeline: 1, zero_stage: 3}, \
     transformer: {vocab_size: 320, hidden_size: 64, ffn_hidden_size: 128, num_attention_heads: 8, num_kv_heads: 4}";

#[test]
fn checkpoints_between_steps_divide_an_epoch_into_blocks() {
    let run = sim("npz")
        .ranks(2)
        .steps(8)
        .epochs(2)
        .compute_ms(10)
        .stage_ms(30)
        .checkpoint("steps_between_checkpoints: 3")
        .run();
    for epoch in 0..2 {
        for rank in 0..2 {
            assert_eq!(run.blocks(rank, epoch), [(1, 3), (2, 3), (3, 2)], "rank {rank}");
        }
        // Without parallelism rank 0 holds the whole state, and rank 1 saves nothing.
        assert_eq!(run.checkpoints(0, epoch), [(1, false, 30), (2, false, 30)]);
        assert_eq!(run.checkpoints(1, epoch), [(1, false, 0), (2, false, 0)]);
    }
    let expected = ["global_epoch1_step3", "global_epoch1_step6", "global_epoch2_step3", "global_epoch2_step6"];
    assert_eq!(run.saved_files(), expected.map(|folder| format!("{folder}/model_states-0.pt")));
}

#[test]
fn a_checkpoint_after_the_last_step_leaves_an_empty_block() {
    let run = sim("npz").steps(6).checkpoint("steps_between_checkpoints: 3").run();
    assert_eq!(run.blocks(0, 0), [(1, 3), (2, 3), (3, 0)]);
    assert_eq!(run.checkpoints(0, 0).len(), 2);
    run.expect_every_sample_once();
}

#[test]
fn blocks_of_one_step_are_counted_and_every_sample_is_read() {
    let run = sim("npz").ranks(2).lanes(2).prefetch(2).steps(4).checkpoint("steps_between_checkpoints: 1").run();
    assert_eq!(run.blocks(1, 0), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 0)]);
    run.expect_every_sample_once();
}

#[test]
fn the_time_of_a_checkpoint_is_in_no_block() {
    let run = sim("npz").steps(4).compute_ms(10).stage_ms(500).checkpoint("steps_between_checkpoints: 2").run();
    let epoch = &run.trained(0).timings.epochs[0];
    for block in &epoch.blocks {
        assert_eq!((block.end - block.start) / MS, block.compute.len() as u64 * 10);
    }
    assert_eq!((epoch.train_end - epoch.start) / MS, 40 + 2 * 500);
}

#[test]
fn a_rank_without_state_goes_on_and_waits_in_the_barrier_of_its_next_step() {
    // As in DLIO, the other ranks wait for the saving rank in their next block.
    let run =
        sim("npz").ranks(2).steps(4).compute_ms(10).stage_ms(100).checkpoint("steps_between_checkpoints: 2").run();
    let second = |rank: usize| {
        let block = &run.trained(rank).timings.epochs[0].blocks[1];
        (block.end - block.start) / MS
    };
    assert_eq!((second(0), second(1)), (20, 120));
}

#[test]
fn checkpoints_after_epochs_are_outside_of_blocks_and_carry_one_step_more() {
    let section = "checkpoint_after_epoch: 2, epochs_between_checkpoints: 2";
    let run = sim("npz").ranks(2).steps(3).epochs(5).compute_ms(10).stage_ms(40).checkpoint(section).run();
    assert_eq!(run.saved_files(), ["global_epoch2_step4/model_states-0.pt", "global_epoch4_step4/model_states-0.pt"]);
    assert_eq!(run.blocks(0, 1), [(1, 3)]);
    assert_eq!(run.checkpoints(0, 1), [(1, false, 40)]);
    assert!(run.checkpoints(0, 2).is_empty());
    let epoch = &run.trained(0).timings.epochs[1];
    assert_eq!((epoch.train_end - epoch.blocks[0].end) / MS, 40, "the training part includes the checkpoint");
}

#[test]
fn saves_and_loads_alone_take_the_pauses_between_them_and_nothing_else() {
    let section = "num_checkpoints_write: 2, num_checkpoints_read: 2, time_between_checkpoints: 1.0";
    let run = sim("npz").ranks(4).model(LLAMA).stage_ms(30).load_ms(20).only_checkpoint(section).run_alone(&empty());
    for rank in 0..4 {
        assert_eq!(
            run.checkpoints(rank, 0),
            [(1, false, 60), (2, false, 60), (1, true, 40), (2, true, 40)],
            "rank {rank}"
        );
        assert!(run.blocks(rank, 0).is_empty());
    }
    let epoch = &run.trained(0).timings.epochs[0];
    assert_eq!((epoch.end - epoch.start) / MS, 4 * 1000 + 2 * 60 + 2 * 40);
    // Two checkpoints with two files from each of four ranks.
    assert_eq!(run.saved_files().len(), 16);
    let spans =
        |kind| run.events(3).iter().filter(|event| event.kind == kind).map(|event| event.at.block).collect::<Vec<_>>();
    assert_eq!((spans(OpKind::CheckpointSave), spans(OpKind::CheckpointLoad)), (vec![1, 2], vec![1, 2]));
    let written = run.events(3).into_iter().filter(|event| event.kind == OpKind::Write);
    let mut count = 0;
    for event in written {
        assert_eq!((event.at.phase, event.at.epoch), (Phase::Checkpoint, 1));
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn only_with_rank_sync_does_a_rank_count_its_wait_for_the_slowest() {
    let slow = "global_epoch1_step1/zero_pp_rank_2_mp_rank_0_optim_states.pt";
    let of = |section| {
        let world = sim("npz").ranks(3).model(LLAMA).stage_ms(10).slow_checkpoint_file(slow, 500);
        world.only_checkpoint(section).run_alone(&empty())
    };
    let run = of("num_checkpoints_write: 1, time_between_checkpoints: 0.001");
    assert_eq!((run.checkpoints(0, 0), run.checkpoints(2, 0)), (vec![(1, false, 20)], vec![(1, false, 510)]));
    let run = of("num_checkpoints_write: 1, time_between_checkpoints: 0.001, rank_sync: True");
    assert_eq!((run.checkpoints(0, 0), run.checkpoints(2, 0)), (vec![(1, false, 510)], vec![(1, false, 510)]));
}

#[test]
fn nothing_appears_when_a_rank_fails_while_it_saves() {
    let broken = "global_epoch1_step2/zero_pp_rank_3_mp_rank_0_optim_states.pt";
    let section = "num_checkpoints_write: 3, time_between_checkpoints: 0.001";
    let world = sim("npz").ranks(4).model(LLAMA).stage_ms(10).broken_checkpoint_file(broken);
    let run = world.only_checkpoint(section).run_alone(&empty());
    assert!(matches!(run.error(3), Error::Storage { .. }), "{}", run.message(3));
    assert!(run.message(3).contains(broken), "{}", run.message(3));
    for rank in 0..3 {
        assert_eq!(run.error(rank).class(), ErrorClass::Aborted);
    }
    let files = run.saved_files();
    assert_eq!(files.len(), 8, "{files:?}");
    assert!(files.iter().all(|file| file.starts_with("global_epoch1_step1/")), "{files:?}");
}

#[test]
fn a_checkpoint_that_is_replaced_is_gone_before_the_new_one_is_stored() {
    let saved = empty();
    let section = "num_checkpoints_write: 2, time_between_checkpoints: 0.001";
    sim("npz").ranks(2).model(LLAMA).only_checkpoint(section).run_alone(&saved).trained(0);
    assert_eq!(keys(&saved).len(), 8);
    let broken = "global_epoch1_step2/zero_pp_rank_1_mp_rank_0_model_states.pt";
    let world = sim("npz").ranks(2).model(LLAMA).stage_ms(10).broken_checkpoint_file(broken);
    world.only_checkpoint(section).run_alone(&saved).error(1);
    let left = keys(&saved);
    assert!(left.iter().all(|file| file.starts_with("global_epoch1_step1/")), "{left:?}");
}

#[test]
fn a_cancelled_save_leaves_nothing() {
    let section = "num_checkpoints_write: 1, time_between_checkpoints: 0.001";
    let world = sim("npz").ranks(2).model(LLAMA).stage_ms(1000).cancelled_at_ms(1500);
    let run = world.only_checkpoint(section).run_alone(&empty());
    assert!(run.ranks.iter().any(|rank| matches!(rank.outcome, Err(Error::Cancelled { .. }))));
    assert!(run.saved_files().is_empty());
}

#[test]
fn loading_more_checkpoints_than_there_are_is_refused_before_the_first() {
    let saved = empty();
    let world = || sim("npz").ranks(2).model(LLAMA);
    world().only_checkpoint("num_checkpoints_write: 1, time_between_checkpoints: 0.001").run_alone(&saved).trained(0);
    let run = world().only_checkpoint("num_checkpoints_read: 3, time_between_checkpoints: 0.001").run_alone(&saved);
    // Rank 0 reports the error and ends the run; the others only report that rank 0 aborted.
    let message = run.message(0);
    assert_eq!(run.error(0).class(), ErrorClass::Storage(ErrorKind::NotFound), "{message}");
    let expected = "Number of checkpoints to be read: 3 is more than the number of checkpoints available: 1";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(run.error(1).class(), ErrorClass::Aborted);
    assert_eq!(run.count(0, OpKind::Read), 0);
}

#[test]
fn missing_and_damaged_files_are_named() {
    let world = || sim("npz").ranks(2).model(LLAMA);
    let load = "num_checkpoints_read: 1, time_between_checkpoints: 0.001";
    for (blocks, read_bytes) in [(1, None), (3, Some(4096))] {
        let saved = empty();
        world()
            .only_checkpoint("num_checkpoints_write: 1, time_between_checkpoints: 0.001")
            .run_alone(&saved)
            .trained(0);
        let loading = Loading { blocks, read_bytes, verify: false };
        let key = "global_epoch1_step1/zero_pp_rank_1_mp_rank_0_optim_states.pt";
        let whole = saved.get(key).unwrap();
        let bytes = world().loading(loading).only_checkpoint(load).run_alone(&saved).trained(1).cost.bytes;
        let sizes = keys(&saved)
            .into_iter()
            .filter(|file| file.contains("rank_1_mp"))
            .map(|file| saved.get(&file).unwrap().len());
        assert_eq!(bytes, sizes.sum::<usize>() as u64, "every byte is read");
        for (content, said) in [
            (whole.slice(..whole.len() - 1), "cut off"),
            (whole.slice(..whole.len() / 2), "its tensors alone need more than"),
            (whole.slice(..0), "it has 0 bytes"),
            ([&[7; 4], &whole[4..]].concat().into(), "does not begin"),
        ] {
            saved.put(key, content);
            let run = world().loading(loading).only_checkpoint(load).run_alone(&saved);
            let message = run.message(1);
            assert!(message.contains(key) && message.contains(said) && message.contains("rank 1"), "{message}");
            assert_eq!(run.error(1).class(), ErrorClass::Corrupt);
        }
        futures::FutureExt::now_or_never(dlio_storage::Storage::delete(&*saved, key)).unwrap().unwrap();
        let run = world().loading(loading).only_checkpoint(load).run_alone(&saved);
        assert!(matches!(run.error(1), Error::MissingCheckpoint { .. }), "{}", run.message(1));
        assert!(run.message(1).contains(key), "{}", run.message(1));
    }
}

#[test]
fn a_thousand_ranks_save_and_load() {
    let section = "num_checkpoints_write: 1, num_checkpoints_read: 1, time_between_checkpoints: 5";
    let model = "type: transformer, num_layers: 8, parallelism: {tensor: 8, pipeline: 4, zero_stage: 1}, \
         transformer: {vocab_size: 320, hidden_size: 64, ffn_hidden_size: 128, num_attention_heads: 8, num_kv_heads: 8}";
    let run = sim("npz").ranks(1024).model(model).stage_ms(5).only_checkpoint(section).run_alone(&empty());
    let epoch = &run.trained(1023).timings.epochs[0];
    assert!(epoch.checkpoints.iter().all(|taken| taken.end >= taken.start));
    // The layers of one model replica, and the optimizer state of every rank.
    let layers = run.saved_files().iter().filter(|file| file.contains("layer_")).count();
    assert_eq!(layers, (8 + 3) * 8);
    assert_eq!(run.saved_files().len(), layers + 1024);
}
