"""Landmarks that the user's own pipeline gave, held against mahtrt's in the pixels of the images.

Parity of an export proves that the graph computes what PyTorch computes, from the same tensor. Most
ports go wrong before and behind the network: colours, numbers, resizing, coordinates. That shows
only where whole pipelines are compared, from the file to the point in the image.

    predictions.py   the user's file, read
    matching.py      its rows and the images of DATA, brought together
    check.py         mahtrt's landmarks of these images, and the judgement
    pipeline.py      the way from image to points as steps that can be exchanged
    causes/          what a pipeline may do otherwise, one file a group
    mixups.py        rows or landmarks in another order
    diagnosis.py     which of the causes explains the difference
"""
