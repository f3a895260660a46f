// How a test speaks with the fake driver (fake_cuda.cpp), and the fake TensorRT with it.
//
// Work on a stream is kept and done when something waits for it, so that what is read, written or
// freed too early shows. Every call of the driver and of TensorRT that can fail has a number,
// counted from fake_fail_at() on, and one of them can be told to fail.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

void fake_gpu(const char* name, int major, int minor, int count);

// What cuInit answers, 0 for success.
void fake_start(int result);

// Counts calls from 1, and lets that number fail (0: none).
void fake_fail_at(std::int64_t call);
std::int64_t fake_calls();
const char* fake_failed();  // which function it was, "" where none failed

// Things that were made and not freed: memory, streams, events, contexts, objects of TensorRT.
std::int64_t fake_alive();

// What was against the rules since the last fake_fail_at(): "" where nothing was.
const char* fake_violations();

// For the fake TensorRT. fake_step: whether this call is to fail.
bool fake_step(const char* function);
void fake_count(int change);
void fake_violate(const char* what);
bool fake_is_current();
bool fake_is_memory(const void* address, std::size_t bytes);
void fake_enqueue(void* stream, void (*work)(void*), void* data);

// For tests of streams.
void* fake_stream();          // one of the primary context, never freed
void* fake_foreign_stream();  // one of another context
void fake_capture(void* stream, bool on);
}
