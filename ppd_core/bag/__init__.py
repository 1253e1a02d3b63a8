"""Recordings of ROS, read and written without ROS.

The way through the package; `recording` has the words that all of it uses, and `reader`, `frames`,
`run` and `writer` are the four that others call.

A run (`ppd bag`), in the order of the work:
    run: READ FIRST, all of it together; settings: what is wanted.
    copier: copies on the way; background: the two threads; progress: counts, and what a kill
        leaves.
    estimate: model and metres; outputs, output_names: what is written of a frame; health:
        /diagnostics; making: arrays -> messages.
Frames, from messages:
    topics, topic_names: which are the camera's and the sensor's; static: what holds throughout.
    frames: each image waits for what belongs to it; recorded_frame: what then is known of it.
    sensor_buffer, transforms: the sensor's messages and tf; pairing_report: how it went.
    messages: messages -> arrays.
Reading, around damage:
    reader: all formats alike; bag_files, opened_files, channels: its files; log_order: their
        messages by time; read_at, unpacking: bytes; damaged_chunk: what one still gives.
    mcap_file, mcap_summary, mcap_walk, mcap_chunk, mcap_records: MCAP, with and without index.
    sqlite_file, sqlite_rows, sqlite_pages: SQLite, by SQLite and by its pages.
    ros1_file, ros1_index, ros1_records, ros1_to_ros2: ROS 1, brought to ROS 2.
    definitions: types as the recording tells them.
Writing, safe up to the last checkpoint:
    writer: the whole; bag_folder: what is safe; metadata: what stands beside the data.
    parts, ros1_part: one data file; typestore: the types of what we write.
    compressed: images and depth as a camera's driver compresses them.
"""
