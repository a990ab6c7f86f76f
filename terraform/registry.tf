# The repositories are the bootstrap's; here images are named by digest, which nobody can move.
locals {
  repositories = {
    gateway   = local.service
    pipelines = "${var.name}-pipelines"
    mlflow    = "${var.name}-mlflow"
  }
  images = { for image, repository in data.aws_ecr_repository.image : image => "${repository.repository_url}@${var.image_digests[image]}" }
}

data "aws_ecr_repository" "image" {
  for_each = local.repositories
  name     = each.value
}
