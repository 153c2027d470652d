"""A tiny random BLIP in a folder, as transformers saves one: what an image captioner is, without its knowledge."""

import torch

WORDS = "a the dog cat red blue green dark bright light picture of on in with and field water sky road".split()
SIDE_PX = 32


def save_small_blip(folder, *, seed=0):
    """BlipForConditionalGeneration, image processor and tokenizer; its captions are words in a random order."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(seed)
    narrow = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**narrow, "vocab_size": len(vocabulary) + 2, "encoder_hidden_size": 32, "max_position_embeddings": 40,
            "bos_token_id": len(vocabulary), "pad_token_id": 0, "sep_token_id": 3, "eos_token_id": 3}  # fmt: skip
    vision = {**narrow, "image_size": SIDE_PX, "patch_size": 8}
    model = BlipForConditionalGeneration(
        BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    ).eval()
    for name, weight in model.named_parameters():
        if weight.dim() > 1:  # large where it looks at the picture: others are captioned in other words
            looks = "crossattention" in name or "vision_model" in name
            torch.nn.init.normal_(weight, std=1.0 if looks else 0.1)
    size = {"height": SIDE_PX, "width": SIDE_PX}
    processor = BlipProcessor(BlipImageProcessor(size=size), BertTokenizerFast(tokenizer_object=tokenizer))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
